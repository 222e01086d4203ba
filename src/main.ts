#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
import { setFlagsFromString } from 'node:v8';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `patchbay: needs Node 22.19 or newer; this is ${process.versions.node}. In a checkout, "npm start" brings its own.\n`,
  );
  process.exitCode = 1;
} else {
  // V8 learns that objects of the relay live long, allocates them among the old, and each call then costs a
  // part of a full collection; they die with their call (docs/performance.md).
  setFlagsFromString('--no-allocation-site-pretenuring');
  // Whoever reads our output may stop reading (`patchbay --help | head`).
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  // Loaded late: an older Node stops at the first module that it does not have, with less helpful words.
  const { runCommand } = await import('./cli/program.ts');
  process.exitCode = await runCommand(process.argv);
}
