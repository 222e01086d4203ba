import { chmod, mkdir, readdir, stat } from 'node:fs/promises';

/** The data directory cannot be used as it is. */
export class DataDirectoryUnusable extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DataDirectoryUnusable';
  }
}

/**
 * Makes the data directory with mode 0700, or closes an existing one to that. A directory that is open to
 * others and holds something else is refused: it is somebody's, and its mode is not ours to change.
 */
export async function prepareDataDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const { mode } = await stat(directory);
    if ((mode & 0o077) === 0) return;
    const files = await readdir(directory);
    if (files.length > 0 && !files.some((file) => file.startsWith('patchbay.') || file === 'master.key')) {
      throw new DataDirectoryUnusable(
        `PATCHBAY_DATA_DIR ${directory} holds other files and is open to other users. Choose a directory of its own.`,
      );
    }
    await chmod(directory, 0o700);
  } catch (error) {
    if (error instanceof DataDirectoryUnusable) throw error;
    throw new DataDirectoryUnusable(
      `PATCHBAY_DATA_DIR ${directory} cannot be used: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}.`,
    );
  }
}
