/** Where logins come back to (design §4). */
export const callbackPath = '/oauth/callback';

/** Where authorization servers read who we are. */
export const clientMetadataPath = '/.well-known/oauth-client';
