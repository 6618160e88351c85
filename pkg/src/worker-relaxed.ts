import { serve } from './serve.js';
import * as glue from './wasm/relaxed/sottovoce.js';

serve(glue);
