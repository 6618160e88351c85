import type { ThreadedGlue } from '../../glue.js';

declare const init: ThreadedGlue['default'];
export default init;
export declare const Session: ThreadedGlue['Session'];
export declare const Pipeline: ThreadedGlue['Pipeline'];
export declare const panicMessage: ThreadedGlue['panicMessage'];
export declare const help: ThreadedGlue['help'];
