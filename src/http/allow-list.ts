import { isIP } from 'node:net';

/** Which Host headers and browser origins this server answers to (design §8, Hosts and origins). */
export interface AllowList {
  allowsHost(host: string | undefined): boolean;
  allowsOrigin(origin: string): boolean;
}

/** Whether a bare host name means this machine. */
export function isLoopbackHost(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return isIP(name) === 4 ? name.startsWith('127.') : name === '::1';
}

/**
 * Builds the list: the public URL and loopback on any port, and what the operator adds. `publicUrl` is asked
 * late, because a free port is known only once the server listens.
 */
export function createAllowList(publicUrl: () => URL, hosts: string[], origins: string[]): AllowList {
  // Answers repeat; the map is emptied when a caller invents names.
  const judged = new Map<string, boolean>();

  function judgeHost(header: string): boolean {
    const url = /^[^\s/@?#\\]+$/.test(header) ? URL.parse(`http://${header}`) : null;
    if (!url) return false;
    if (isLoopbackHost(url.hostname)) return true;
    const { hostname, port } = publicUrl();
    if (url.hostname === hostname && (url.port === port || url.port === '')) return true;
    return hosts.some(
      (allowed) => allowed === url.hostname || allowed === `${url.hostname}:${url.port || '80'}`,
    );
  }

  return {
    allowsHost(host) {
      if (host === undefined) return false;
      let allowed = judged.get(host);
      if (allowed === undefined) {
        allowed = judgeHost(host);
        if (judged.size > 1000) judged.clear();
        judged.set(host, allowed);
      }
      return allowed;
    },
    allowsOrigin(origin) {
      if (origins.includes('*') || origins.includes(origin)) return true;
      const url = URL.parse(origin);
      if (!url || !/^https?:$/.test(url.protocol)) return false;
      return isLoopbackHost(url.hostname) || url.origin === publicUrl().origin;
    },
  };
}
