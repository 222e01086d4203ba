import { ConfigError } from '../platform/config.ts';
import { DataDirectoryUnusable } from '../platform/data-directory.ts';
import { MasterKeyError } from '../platform/master-key.ts';
import { DataDirectoryInUse } from '../platform/store/sqlite.ts';

/** What to tell the operator about a failed start: what is wrong, and what to do. */
export function explainStartFailure(error: unknown, listenAddress: string): string {
  const isOurs = [ConfigError, DataDirectoryUnusable, DataDirectoryInUse, MasterKeyError].some(
    (kind) => error instanceof kind,
  );
  const { message, cause } = error as Error;
  if (isOurs) return message;
  const code = (error as NodeJS.ErrnoException).code ?? (cause as NodeJS.ErrnoException | undefined)?.code;
  switch (code) {
    case 'EADDRINUSE':
      return `${listenAddress} is taken by another program. Stop that one, or set PATCHBAY_PORT.`;
    case 'EACCES':
      return `Not allowed to listen on ${listenAddress}. Set PATCHBAY_PORT to a port above 1023.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `This machine has no address ${listenAddress}. Check PATCHBAY_HOST.`;
    case 'ECONNREFUSED':
    case 'CONNECT_TIMEOUT':
      return 'The database of PATCHBAY_DATABASE_URL does not answer.';
    case '28P01':
    case '28000':
      return 'The database of PATCHBAY_DATABASE_URL refused the user or password.';
    case '3D000':
      return 'The database of PATCHBAY_DATABASE_URL does not exist.';
    default:
      return [message, (cause as Error | undefined)?.message].filter(Boolean).join(' ');
  }
}
