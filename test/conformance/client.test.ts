import { describe, expect, it } from 'vitest';
import { runScenarios } from './client/suite.ts';

/** As many as the suite scores; a change of its output that hides scenarios must not pass for success. */
const scoredScenarios = { '2025-11-25': 14, '2026-07-28': 25 };

/** Extensions of the protocol, which the suite does not score, and Patchbay has. */
const extensions = ['auth/client-credentials-basic', 'auth/client-credentials-jwt'];

describe('Patchbay as the client of the official conformance suite', () => {
  it.each(Object.entries(scoredScenarios))(
    'passes every scored auth scenario of %s and client credentials, without a warning',
    async (revision, count) => {
      const [result] = await runScenarios([revision]);
      const wanted =
        result?.scenarios.filter(({ name, isScored }) => isScored || extensions.includes(name)) ?? [];
      const faulty = wanted.filter(({ passed, failed, warnings }) => passed === 0 || failed + warnings > 0);
      expect(faulty.map(({ name, problems, output }) => ({ name, problems, output }))).toEqual([]);
      expect(wanted).toHaveLength(count + extensions.length);
    },
    240_000,
  );
});
