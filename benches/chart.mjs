// The ratios of a run as a bar chart.

import { parse, View } from 'vega';
import { compile } from 'vega-lite';

import { PIPELINE_PEER } from './cases.mjs';

/** An SVG with a bar for every ratio to a peer, and its quartiles; above 1 ours is faster. */
export function barChart({ environment, suites }) {
  const specification = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: {
      text: 'How many times faster than its peers',
      subtitle: `${environment.browser}, ${environment.processor}, threads: ${environment.threads}; median and quartiles`,
    },
    data: { values: bars(suites) },
    width: 480,
    height: { step: 16 },
    encoding: { y: { field: 'label', type: 'nominal', title: null, sort: null, axis: { labelLimit: 0 } } },
    layer: [
      {
        mark: 'bar',
        encoding: {
          x: { field: 'median', type: 'quantitative', title: '× (from 1, logarithmic)', scale: { type: 'log', nice: false } },
          x2: { datum: 1 },
          color: { field: 'engine', type: 'nominal', title: null, sort: null, legend: { orient: 'bottom' } },
        },
      },
      { mark: 'rule', encoding: { x: { field: 'low', type: 'quantitative' }, x2: { field: 'high' } } },
      {
        mark: { type: 'text', align: 'left', dx: 6 },
        encoding: { x: { field: 'high', type: 'quantitative' }, text: { field: 'median', type: 'quantitative', format: '.2f' } },
      },
    ],
  };
  return new View(parse(compile(specification).spec), { renderer: 'none' }).toSVG();
}

/** `{ label, engine, median, low, high }` for every ratio that the suites found. */
function bars({ encoder = [], long = [], pipeline = [], decoder = [], create = [] }) {
  const ofEngines = (work, engines, ratioOf) =>
    Object.entries(engines ?? {}).flatMap(([engine, figures]) => {
      const ratio = ratioOf(figures);
      return ratio === undefined ? [] : [{ label: `${work}: ${engine}`, engine, ...ratio }];
    });
  return [
    ...[...encoder, ...long].flatMap(({ model, shape, engines }) => ofEngines(`${model} ${shape}`, engines, ({ ratio }) => ratio)),
    ...pipeline.flatMap(({ model, texts, engines }) => ofEngines(`${model}, ${texts}, ${PIPELINE_PEER}`, engines, ({ ratio }) => ratio)),
    ...decoder.flatMap(({ model, engines }) =>
      ['prefill', 'decode'].flatMap((part) =>
        Object.keys(peersOf(engines)).flatMap((peer) =>
          ofEngines(`${model} ${part}, ${peer}`, engines, ({ ratios }) => ratios[peer]?.[part]),
        ),
      ),
    ),
    ...create.flatMap(({ model, engines }) => ofEngines(`${model}, create and first run`, engines, ({ ratio }) => ratio)),
  ];
}

/** The peers that some engine has a ratio to. */
function peersOf(engines) {
  return Object.assign({}, ...Object.values(engines).map(({ ratios }) => ratios));
}
