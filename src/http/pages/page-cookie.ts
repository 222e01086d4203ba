import { parseCookie, stringifySetCookie } from 'cookie';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** A cookie of our pages, which holds 32 random bytes in base64url. */
export interface PageCookie {
  read(request: FastifyRequest): string | undefined;
  set(reply: FastifyReply, value: string): void;
  clear(reply: FastifyReply): void;
}

/**
 * A cookie that no script and no other host sees. Over https its name begins with `__Host-`, so that it is from this host and
 * over TLS (RFC 6265bis §4.1.3.2); plain http is for a trial on loopback.
 */
export function pageCookie(name: string, lifeSeconds: number, publicUrl: () => URL): PageCookie {
  const isSecure = () => publicUrl().protocol === 'https:';
  const fullName = () => (isSecure() ? `__Host-${name}` : name);

  function write(reply: FastifyReply, value: string, maxAge: number): void {
    const cookie = stringifySetCookie({
      name: fullName(),
      value,
      path: '/',
      httpOnly: true,
      // Lax: a provider sends the browser back, and a command line opens it, by a link from elsewhere.
      sameSite: 'lax',
      secure: isSecure(),
      maxAge,
    });
    reply.header('set-cookie', cookie);
  }

  return {
    read(request) {
      const value = parseCookie(request.headers.cookie ?? '')[fullName()];
      return value !== undefined && /^[\w-]{43}$/.test(value) ? value : undefined;
    },
    set: (reply, value) => write(reply, value, lifeSeconds),
    clear: (reply) => write(reply, '', 0),
  };
}
