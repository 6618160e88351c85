//! The WebAssembly module: what `sottovoce::web` exports.
//!
//! A package of its own, because the one that is linked decides how all of the module is optimised at the end: this one for speed, so
//! that the kernels stay fast, while the code of the packages below is compiled for size.

use sottovoce as _;
