import { serve } from './serve.js';
import * as glue from './wasm/simd-threads/sottovoce.js';

serve(glue, glue);
