const prefix = 'patchbay://connection/';

/**
 * The URI of a resource in its namespace: `patchbay://connection/{connectionId}/{uri}`, with the server's own URI as it
 * is. So it depends on nothing but the two, is a URI where that is one (RFC 3986 §3.3), and a template stays one: it
 * expands to the URI of what the server's own expands to (RFC 6570 §3). The id is in the path, not in the host, where
 * clients may change upper to lower case (RFC 3986 §6.2.2.1).
 */
export function namespaceUri(connectionId: string, uri: string): string {
  // An apostrophe is no literal of a template (RFC 6570 §2.1).
  const encoded = encodeURIComponent(connectionId).replaceAll("'", '%27');
  return `${prefix}${encoded}/${uri}`;
}

/** The connection and the server's own URI again; undefined for what is no such URI. */
export function readNamespaceUri(uri: string): { connectionId: string; own: string } | undefined {
  const [, encoded, own] = /^patchbay:\/\/connection\/([^/]+)\/(.*)$/is.exec(uri) ?? [];
  if (encoded === undefined || own === undefined) return undefined;
  try {
    return { connectionId: decodeURIComponent(encoded), own };
  } catch {
    return undefined;
  }
}
