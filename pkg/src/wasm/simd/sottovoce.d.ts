import type { Glue } from '../../glue.js';

declare const init: Glue['default'];
export default init;
export declare const Session: Glue['Session'];
export declare const Pipeline: Glue['Pipeline'];
export declare const panicMessage: Glue['panicMessage'];
export declare const __wbg_reset_state: Glue['__wbg_reset_state'];
