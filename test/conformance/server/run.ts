import { parseArgs } from 'node:util';
import { type Revision, revisions } from '../official-suite.ts';
import { type Route, routes, type Upstream, upstreams } from './cell.ts';
import { expectedFailures } from './expected-failures.ts';
import { cellsOf, runCells } from './matrix.ts';
import { toMarkdown, toProgress } from './report.ts';
import { isBad, judge } from './verdict.ts';

const usage = `npm run conformance -- [options]
Runs the server scenarios of the official MCP conformance suite against a fixture upstream, directly and through
Patchbay, and prints passed/all checks of every scenario side by side. Exits with 1 if Patchbay loses a check that
passes directly and that is not listed in test/conformance/server/expected-failures.ts, or if one listed passes.
  --revision <date>     one protocol revision of the client: ${revisions.join(' or ')} (default: both)
  --upstream <era>      one upstream: ${upstreams.join(', ')} (default: all)
  --only <route>        direct, or patchbay, which still runs directly what it is held against (default: both)
  --scenario <name>     one scenario, such as tools-list (default: all)
  --json                print JSON instead of Markdown
  --help                print this
Progress goes to stderr.`;

const { values: given } = readArguments();
if (given.help) {
  console.log(usage);
  process.exit(0);
}

const cells = cellsOf({
  revisions: oneOf<Revision>('--revision', revisions, given.revision),
  upstreams: oneOf<Upstream>('--upstream', upstreams, given.upstream),
  routes: oneOf<Route>('--only', routes, given.only),
});
console.error(`Running the suite ${cells.length} times, two at a time.`);
const results = await runCells(cells, given.scenario, (result) => console.error(toProgress(result)));
if (results.every(({ scenarios }) => scenarios.length === 0)) {
  refuse(`The suite has no server scenario ${given.scenario} in what was asked for.`);
}
const verdicts = judge(results, expectedFailures);
console.log(given.json ? JSON.stringify({ results, verdicts }, null, 2) : toMarkdown(results, verdicts));
process.exitCode = verdicts.some(isBad) ? 1 : 0;

function readArguments() {
  try {
    return parseArgs({
      options: {
        revision: { type: 'string' },
        upstream: { type: 'string' },
        only: { type: 'string' },
        scenario: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    return refuse((error as Error).message);
  }
}

/** All choices, or the one that was given. */
function oneOf<T extends string>(
  option: string,
  choices: readonly T[],
  chosen: string | undefined,
): readonly T[] {
  if (chosen === undefined) return choices;
  const found = choices.filter((choice) => choice === chosen);
  return found.length > 0 ? found : refuse(`${option} must be one of: ${choices.join(', ')}`);
}

function refuse(problem: string): never {
  console.error(`${problem}\n\n${usage}`);
  process.exit(2);
}
