import { serve } from './serve.js';
import * as glue from './wasm/relaxed-threads/sottovoce.js';

serve(glue, glue);
