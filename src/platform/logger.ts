import pino, { type Logger as PinoLogger } from 'pino';

export type Logger = PinoLogger;

/**
 * JSON lines on `stream` (stdout unless told). On a terminal they are made readable.
 * What may carry a secret is cut out by path, besides `Secret`, which redacts itself.
 */
export async function openLogger(
  level: string,
  stream: NodeJS.WriteStream = process.stdout,
): Promise<Logger> {
  const options = {
    level,
    base: null,
    redact: {
      paths: ['headers', '*.headers', 'req.headers', 'authorization', '*.authorization', 'body', '*.body'],
      censor: '[redacted]',
    },
  };
  if (!stream.isTTY) return pino(options, stream);
  const { default: pretty } = await import('pino-pretty');
  return pino(options, pretty({ colorize: stream.hasColors?.() ?? false, destination: stream, sync: true }));
}
