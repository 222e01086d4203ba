import { Command, CommanderError } from 'commander';
import { describeSettings } from '../platform/config.ts';
import { version } from '../platform/version.ts';
import { createKey } from './keys/create.ts';
import { rotate } from './keys/rotate.ts';
import { createOrganizationCommand } from './organizations/create.ts';
import { exitCodes } from './uplink/exit-codes.ts';
import type { UplinkOptions } from './uplink/uplink.ts';

/** Runs the command that `argv` names; `serve` when it names none. Returns the exit code; prints its own errors. */
export async function runCommand(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = new Command('patchbay')
    .description('Self-hosted MCP connections behind one plain endpoint.')
    .version(version)
    .exitOverride()
    .addHelpText('after', `\n${settingsHelp()}`);
  program
    .command('serve', { isDefault: true })
    .description('run the server (the default)')
    .action(async () => {
      const { serve } = await import('./serve.ts');
      exitCode = await serve(process.env);
    });
  const keys = program.command('keys').description('API keys, and the keys that seal secrets');
  keys
    .command('create')
    .description('make another API key and print it once; the server must not be running on SQLite')
    .option('--name <name>', 'what the key is for', 'made on the command line')
    .option('--organization <id>', 'whose key it is (default: the organization of the first start)')
    .option('--json', 'print JSON')
    .action(async (options: { name: string; organization?: string; json?: boolean }) => {
      exitCode = await createKey(process.env, options);
    });
  keys
    .command('rotate')
    .description(
      'replace the master key and all data keys, and seal all secrets anew; the server must not be running on ' +
        'SQLite. A master key of the environment is replaced by PATCHBAY_NEW_MASTER_KEY, or by one that is made and printed once',
    )
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      exitCode = await rotate(process.env, options);
    });
  program
    .command('organizations')
    .description('tenants of this server')
    .command('create')
    .description(
      'make another organization and print its API key once; the server must not be running on SQLite',
    )
    .argument('<name>', 'what it is called')
    .option('--json', 'print JSON')
    .action(async (name: string, options: { json?: boolean }) => {
      exitCode = await createOrganizationCommand(process.env, name, options);
    });
  program
    .command('uplink')
    .description('pair an MCP server on this machine with a connection, for as long as this runs')
    .argument('<namespace/id>', 'the connection, which is made if it is not there')
    .argument(
      '[target...]',
      'the http:// address of the server, or after -- the command that runs it over stdio',
    )
    .option('--url <url>', 'the Patchbay server (default: PATCHBAY_URL, or http://127.0.0.1:8787)')
    .option('--force', 'take over from a session that is paired')
    .option('--rm', 'delete the connection at the end')
    .option('--no-restart', 'end when the command ends, with its exit code')
    .option('--env <name>', 'pass this variable to the command, or set it: NAME or NAME=value', collect)
    .option('--json', 'print a JSON object for each event')
    .addHelpText('after', `\n${uplinkHelp()}`)
    .action(async (connection: string, target: string[], options: UplinkOptions) => {
      // Neither end needs the other one's code.
      const { uplink } = await import('./uplink/uplink.ts');
      exitCode = await uplink(process.env, connection, target, options);
    });
  try {
    await program.parseAsync(argv);
  } catch (error) {
    // Asked for help, or the arguments cannot be used.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  return exitCode;
}

function settingsHelp(): string {
  const lines = describeSettings().map(
    ({ name, fallback, help }) => `  ${name}\n      ${help}\n      Default: ${fallback}.`,
  );
  return ['Settings, from the environment:', ...lines].join('\n');
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

function uplinkHelp(): string {
  const codes = Object.values(exitCodes).map(([code, meaning]) => `  ${code}  ${meaning}`);
  return [
    'PATCHBAY_API_KEY holds an API key, or a service token with connections:write. The command gets few variables of',
    'this environment: PATH, HOME, the language and the like, and what --env names.',
    '',
    'Examples:',
    '  patchbay uplink default/files -- npx @modelcontextprotocol/server-filesystem .',
    '  patchbay uplink default/my-laptop http://localhost:3001/mcp',
    '  patchbay uplink default/db --env DATABASE_URL -- my-database-server --read-only',
    '',
    'Exit codes:',
    ...codes,
    '  With --no-restart, when the command has ended: its exit code.',
  ].join('\n');
}
