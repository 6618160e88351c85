//! What stands below sottovoce's graph: the inner loops of the CPU ([`kernels`]), the [`error`] type, and the geometry of an
//! attention call ([`attention`]).
//!
//! A package of its own, because it alone is optimised for speed where the rest of a WebAssembly module is optimised for size,
//! and because it alone may use `unsafe`.

pub mod attention;
pub mod error;
pub mod kernels;
