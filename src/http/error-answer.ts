import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { errorMessage } from '../mcp/answer.ts';
import { ApiError, type ErrorCode, errorTable } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { App, ErrorShape } from './deps.ts';

const frameworkCodes: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'bad_request',
  FST_ERR_BAD_URL: 'bad_request',
};

const maxShownChars = 500;

/** Answers every error in the shape of its route, from the one table of errors. */
export function answerErrors(app: App, log: Logger): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    sendError(log, request, reply, toApiError(error));
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]?.slice(0, 200);
    sendError(
      log,
      request,
      reply,
      new ApiError('not_found', { message: `No route ${request.method} ${path}` }),
    );
  });
}

/** For errors that Fastify meets before a route is known. */
export function answerFrameworkError(log: Logger) {
  return (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void =>
    sendError(log, request, reply, toApiError(error));
}

/** For what is no HTTP request: a malformed or too large head, or one that never ends. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code: ErrorCode =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 'head_too_large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 'request_timeout'
        : 'bad_request';
  const { status, message } = errorTable[code];
  const text = JSON.stringify({ error: code, message });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  );
}

function sendError(log: Logger, request: FastifyRequest, reply: FastifyReply, error: ApiError): void {
  request.entry?.failed(error.code);
  if (error.status >= 500 && error.code === 'internal_error') {
    log.error({ err: error.cause ?? error, requestId: request.id }, 'a request failed');
  }
  reply
    .code(error.status)
    .headers(error.answerHeaders())
    .type('application/json')
    .send(JSON.stringify(body(error, request.routeOptions?.config?.errors ?? 'connect')));
}

function body(error: ApiError, shape: ErrorShape): unknown {
  switch (shape) {
    case 'connect':
      return { error: error.code, message: error.message };
    case 'registry':
      return { error: error.message };
    case 'jsonrpc':
      return errorMessage(error, undefined);
  }
}

function toApiError(error: FastifyError | ApiError): ApiError {
  if (error instanceof ApiError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const [first] = error.validation;
    return new ApiError('validation_error', {
      message: describeIssue(first?.instancePath ?? '', first?.message ?? '', error.validationContext),
    });
  }
  const code = frameworkCodes[error.code];
  if (code) return new ApiError(code, { cause: error });
  const status = error.statusCode ?? 500;
  return new ApiError(status >= 400 && status < 500 ? 'bad_request' : 'internal_error', { cause: error });
}

/** `headers.X-Key: Invalid input` for `/headers/X-Key`; the place as a whole where there is no path. */
function describeIssue(path: string, message: string, place: string | undefined): string {
  const field = path.split('/').filter(Boolean).join('.');
  return `${field || (place ?? 'request')}: ${message}.`.replace(/\.+$/, '.').slice(0, maxShownChars);
}
