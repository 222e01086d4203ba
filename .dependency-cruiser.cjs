/**
 * The floors of the house (docs/architecture.md): a room imports only rooms on lower floors.
 * `compose.ts` and `main.ts` join them; rooms on one floor do not know each other.
 */
const floors = [
  ['platform'],
  ['mcp', 'identity', 'audit'],
  ['uplink'],
  ['upstream'],
  ['registry'],
  ['connections'],
  ['gateway', 'releases'],
  ['http'],
  ['cli'],
];

const upward = floors.flatMap((rooms, floor) =>
  rooms.map((room) => {
    const forbidden = [...floors.slice(floor + 1).flat(), ...rooms.filter((other) => other !== room)];
    return {
      name: `${room}-imports-downwards`,
      severity: 'error',
      from: { path: `^src/${room}/`, pathNot: '\\.test\\.ts$' },
      to: {
        path: [
          ...forbidden.map((other) => `^src/${other}/`),
          ...(room === 'cli' ? [] : ['^src/(compose|main)\\.ts$']),
        ],
      },
    };
  }),
);

module.exports = {
  forbidden: [
    ...upward.filter(({ to }) => to.path.length > 0),
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-dev-dependencies',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['npm-dev'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.mjs', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
