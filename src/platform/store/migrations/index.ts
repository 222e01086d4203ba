import type { Migration } from 'kysely/migration';
import * as first from './001-first.ts';
import * as credentials from './002-credentials.ts';
import * as endedSessions from './003-ended-sessions.ts';
import * as audit from './004-audit.ts';
import * as connectionSettings from './005-connection-settings.ts';
import * as sessionWishes from './007-session-wishes.ts';
import * as sessionMail from './009-session-mail.ts';
import * as serviceTokens from './010-service-tokens.ts';
import * as uplinks from './011-uplinks.ts';
import * as keyUsage from './012-key-usage.ts';
import * as signIn from './013-sign-in.ts';
import * as pins from './014-pins.ts';
import * as members from './015-members.ts';
import * as auditDetail from './016-audit-detail.ts';
import * as pinnedInstructions from './017-pinned-instructions.ts';

/** All migrations, in the order of their names. One that has landed is never changed. */
export const migrations: Record<string, Migration> = {
  '001-first': first,
  '002-credentials': credentials,
  '003-ended-sessions': endedSessions,
  '004-audit': audit,
  '005-connection-settings': connectionSettings,
  '007-session-wishes': sessionWishes,
  '009-session-mail': sessionMail,
  '010-service-tokens': serviceTokens,
  '011-uplinks': uplinks,
  '012-key-usage': keyUsage,
  '013-sign-in': signIn,
  '014-pins': pins,
  '015-members': members,
  '016-audit-detail': auditDetail,
  '017-pinned-instructions': pinnedInstructions,
};
