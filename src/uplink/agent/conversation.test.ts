import { describe, expect, it } from 'vitest';
import type { FrameMessage } from '../frame.ts';
import { Conversation } from './conversation.ts';

const rpc = (message: object): FrameMessage => ({ jsonrpc: '2.0', ...message });
const never = () => expect.unreachable();

function setUp() {
  let time = 0;
  const conversation = new Conversation(() => time);
  return {
    conversation,
    pass: (ms: number) => {
      time += ms;
    },
    call: (id: unknown, method = 'tools/call') =>
      conversation.toServer(rpc({ id, method }), never)?.id as number,
  };
}

describe('a conversation with a local server', () => {
  it('gives each answer to the call that it is for, under the id of that call, and counts', () => {
    const { conversation, call, pass } = setUp();
    const [a, b] = [call('x'), call(7)];
    expect(a).not.toBe(b);
    pass(12);
    expect(conversation.toTunnel(rpc({ id: b, result: { b: 1 } }))).toEqual(rpc({ id: 7, result: { b: 1 } }));
    expect(conversation.tally).toEqual({ open: 1, answered: 1, lastMs: 12 });
    expect(conversation.toTunnel(rpc({ id: a, error: { code: 1 } }))).toEqual(
      rpc({ id: 'x', error: { code: 1 } }),
    );
    expect(conversation.toTunnel(rpc({ id: a, result: {} }))).toBeUndefined();
  });

  it('initializes the server once, whoever asks and how often', () => {
    const { conversation, call } = setUp();
    const own = call('first', 'initialize');
    expect(conversation.toServer(rpc({ id: 'second', method: 'initialize' }), never)).toBeUndefined();
    const result = { serverInfo: { name: 's' } };
    expect(conversation.toTunnel(rpc({ id: own, result }))).toEqual(rpc({ id: 'second', result }));
    const confirmed = rpc({ method: 'notifications/initialized' });
    expect(conversation.toServer(confirmed, never)).toEqual(confirmed);

    conversation.loseTunnel();
    const replies: FrameMessage[] = [];
    const again = conversation.toServer(rpc({ id: 3, method: 'initialize' }), (reply) => replies.push(reply));
    expect(again).toBeUndefined();
    expect(replies).toEqual([rpc({ id: 3, result })]);
    expect(conversation.toServer(confirmed, never)).toBeUndefined();
  });

  it('asks again where the server refused to initialize, and keeps a first one over a lost tunnel', () => {
    const { conversation, call } = setUp();
    const own = call(1, 'initialize');
    conversation.toTunnel(rpc({ id: own, error: { code: -32603, message: 'not yet' } }));
    const second = call(2, 'initialize');
    expect(second).not.toBe(own);
    expect(conversation.loseTunnel()).toEqual([]);
    expect(conversation.toServer(rpc({ id: 9, method: 'initialize' }), never)).toBeUndefined();
    expect(conversation.toTunnel(rpc({ id: second, result: {} }))?.id).toBe(9);
  });

  it('cancels what a lost tunnel had asked, and gives its late answers to nobody', () => {
    const { conversation, call } = setUp();
    const own = call(1);
    conversation.toTunnel(rpc({ id: 'q', method: 'sampling/createMessage' }));
    expect(conversation.loseTunnel()).toEqual([
      rpc({ method: 'notifications/cancelled', params: { requestId: own, reason: 'the caller is gone' } }),
      rpc({ id: 'q', error: { code: -32000, message: 'Whoever could answer is gone.' } }),
    ]);
    const next = call(1);
    expect(next).not.toBe(own);
    expect(conversation.toTunnel(rpc({ id: own, result: {} }))).toBeUndefined();
    expect(conversation.toTunnel(rpc({ id: next, result: {} }))?.id).toBe(1);
  });

  it('passes cancellations on under the id that the server knows, and those of ended calls not at all', () => {
    const { conversation, call } = setUp();
    const own = call('x');
    const cancel = rpc({ method: 'notifications/cancelled', params: { requestId: 'x', reason: 'r' } });
    expect(conversation.toServer(cancel, never)).toEqual({
      ...cancel,
      params: { requestId: own, reason: 'r' },
    });
    expect(conversation.toTunnel(rpc({ id: own, result: {} }))).toBeUndefined();
    expect(conversation.toServer(cancel, never)).toBeUndefined();
    expect(conversation.tally).toMatchObject({ open: 0, answered: 0 });
  });

  it('passes answers to questions of the server, once, and everything else as it is', () => {
    const { conversation } = setUp();
    const question = rpc({ id: 5, method: 'roots/list', params: { _meta: { a: 1 } } });
    expect(conversation.toTunnel(question)).toBe(question);
    const answer = rpc({ id: 5, result: { roots: [] } });
    expect(conversation.toServer(answer, never)).toBe(answer);
    expect(conversation.toServer(answer, never)).toBeUndefined();
    const progress = rpc({ method: 'notifications/progress', params: { progressToken: 1, progress: 2 } });
    expect(conversation.toTunnel(progress)).toBe(progress);
  });
});
