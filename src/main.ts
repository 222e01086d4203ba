#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `patchbay: needs Node 22.19 or newer; this is ${process.versions.node}. In a checkout, "npm start" brings its own.\n`,
  );
  process.exitCode = 1;
} else {
  // Loaded late: an older Node stops at the first module that it does not have, with less helpful words.
  const { runCommand } = await import('./cli/program.ts');
  process.exitCode = await runCommand(process.argv);
}
