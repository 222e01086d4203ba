import type { FastifyRequest } from 'fastify';
import secureJson from 'secure-json-parse';
import { isDeeperThan } from '../mcp/json-scan.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import type { App } from './deps.ts';

/**
 * Reads REST bodies: JSON only, not deeper than the limit, without keys that reach prototypes. A body of
 * nothing is undefined.
 */
export function readJsonBodies(app: App, limits: Limits): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (request.entry) request.entry.bytesIn = body.length;
    try {
      done(null, parse(body as Buffer, limits.jsonDepth));
    } catch (error) {
      done(error as Error);
    }
  });
}

/** A `preValidation` hook for routes that take no body for `{}`; a body of `null` stays what it is. */
export function acceptNoBody(request: FastifyRequest, _reply: unknown, done: () => void): void {
  if (request.body === undefined) request.body = {};
  done();
}

function parse(body: Buffer, maxDepth: number): unknown {
  if (body.length === 0) return undefined;
  if (isDeeperThan(body, maxDepth)) throw invalid(`nests deeper than ${maxDepth} levels`);
  try {
    return secureJson.parse(body.toString('utf8'), undefined, {
      protoAction: 'error',
      constructorAction: 'error',
    });
  } catch (cause) {
    const isForbidden = /forbidden prototype/.test((cause as Error).message);
    throw invalid(
      isForbidden ? 'has a key that is not allowed: __proto__ or constructor.prototype' : 'is not valid JSON',
    );
  }
}

function invalid(problem: string): ApiError {
  return new ApiError('validation_error', { message: `body: ${problem}.` });
}
