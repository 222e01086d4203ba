import { parseArgs } from 'node:util';
import { revisions } from '../official-suite.ts';
import { hasFailed, toMarkdown } from './report.ts';
import { runScenarios } from './suite.ts';

const usage = `npm run conformance:client -- [options]
Runs the auth scenarios of the official MCP conformance suite with Patchbay as the client.
Exits with 1 if one that is scored fails.
  --revision <date>   one protocol revision: ${revisions.join(' or ')} (default: both)
  --scenario <name>   one scenario, such as auth/metadata-default (default: all)
  --json              print JSON instead of Markdown, with what the driver printed`;

const { values: given } = parseArgs({
  options: {
    revision: { type: 'string' },
    scenario: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (given.help) {
  console.log(usage);
  process.exit(0);
}
const wanted = revisions.filter((revision) => given.revision === undefined || revision === given.revision);
if (wanted.length === 0) {
  console.error(usage);
  process.exit(2);
}

const results = await runScenarios(wanted, given.scenario);
if (results.every(({ scenarios }) => scenarios.length === 0)) {
  console.error(`The suite has no client scenario ${given.scenario} in ${wanted.join(' or ')}.`);
  process.exit(2);
}
console.log(given.json ? JSON.stringify(results, null, 2) : toMarkdown(results));
process.exitCode = hasFailed(results) ? 1 : 0;
