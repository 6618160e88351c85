import { serve } from './serve.js';
import * as glue from './wasm/simd/sottovoce.js';

serve(glue);
