import type { UnthreadedGlue } from '../../glue.js';

declare const init: UnthreadedGlue['default'];
export default init;
export declare const Session: UnthreadedGlue['Session'];
export declare const Pipeline: UnthreadedGlue['Pipeline'];
export declare const panicMessage: UnthreadedGlue['panicMessage'];
export declare const __wbg_reset_state: UnthreadedGlue['__wbg_reset_state'];
