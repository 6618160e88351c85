import { invalidInput } from './errors.js';
import { resolveUrl } from './fetch.js';
import type { LoadFile } from './load.js';
import { readablePath } from './model-source.js';

/** Which weights file of a model folder to take. */
export type DType = keyof typeof SUFFIXES;

const SUFFIXES = {
  fp32: '',
  fp16: '_fp16',
  q8: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4: '_q4',
  q4f16: '_q4f16',
} as const;

/** Names of the weights files. */
export const DTYPES = Object.keys(SUFFIXES) as DType[];

/** Where the files of a model lie. */
export interface ModelLayout {
  readonly dtype?: DType | undefined;
  readonly subfolder?: string | undefined;
  readonly model_file_name?: string | undefined;
}

const DEFAULT_SUBFOLDER = 'onnx';

/** Finds a model's files from its folder, or from the address of its `.onnx` file. */
export function modelFiles(model: string | URL, layout: ModelLayout, needsConfig: boolean): LoadFile[] {
  const address = resolveUrl(model);
  const isFile = address.pathname.endsWith('.onnx');
  if (isFile) refuseLayout(layout);
  const folder = isFile
    ? folderOfFile(address)
    : sibling(address, address.pathname.endsWith('/') ? '' : `${lastName(address)}/`);
  const modelUrl = isFile ? address : sibling(folder, pathInFolder(layout));
  const at = (name: string): LoadFile['origin'] => ({ url: sibling(folder, name) });
  return [
    {
      name: readablePath(modelUrl.pathname.slice(folder.pathname.length)),
      origin: { url: modelUrl },
      kind: 'model',
    },
    { name: 'tokenizer.json', origin: at('tokenizer.json'), kind: 'json' },
    { name: 'tokenizer_config.json', origin: at('tokenizer_config.json'), kind: 'json', optional: true },
    { name: 'config.json', origin: at('config.json'), kind: 'json', optional: !needsConfig },
  ];
}

/** An `.onnx` file in a folder `onnx` belongs to the folder above, as the hub lays them out; others to their own. */
function folderOfFile(file: URL): URL {
  const own = sibling(file, '');
  return own.pathname.endsWith(`/${DEFAULT_SUBFOLDER}/`) ? sibling(own, '../') : own;
}

function pathInFolder({
  dtype = 'fp32',
  subfolder = DEFAULT_SUBFOLDER,
  model_file_name = 'model',
}: ModelLayout): string {
  const file = `${model_file_name}${SUFFIXES[dtype]}.onnx`;
  return subfolder === '' ? file : `${subfolder.replace(/\/$/, '')}/${file}`;
}

function refuseLayout(layout: ModelLayout): void {
  for (const option of ['dtype', 'subfolder', 'model_file_name'] as const) {
    if (layout[option] !== undefined) {
      throw invalidInput(`option \`${option}\` has no meaning for the address of an .onnx file`, {
        remedy: 'leave it out, or pass the address of the model folder',
      });
    }
  }
}

/** A relative address beside another, with the query that the other has. */
function sibling(address: URL, relative: string): URL {
  const url = new URL(relative === '' ? '.' : relative, address);
  url.search = address.search;
  return url;
}

function lastName(address: URL): string {
  return address.pathname.split('/').at(-1)!;
}
