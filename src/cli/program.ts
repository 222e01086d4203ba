import { Command, CommanderError } from 'commander';
import { describeSettings } from '../platform/config.ts';
import { version } from '../platform/version.ts';
import { createKey } from './keys/create.ts';
import { rotate } from './keys/rotate.ts';
import { serve } from './serve.ts';

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
      exitCode = await serve(process.env);
    });
  const keys = program.command('keys').description('API keys, and the keys that seal secrets');
  keys
    .command('create')
    .description('make another API key and print it once; the server must not be running on SQLite')
    .option('--name <name>', 'what the key is for', 'made on the command line')
    .option('--json', 'print JSON')
    .action(async (options: { name: string; json?: boolean }) => {
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
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
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
