import { randomBytes, randomInt } from 'node:crypto';

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** `length` characters of `alphabet` (base62 unless told), from the system's random source. */
export function randomText(length: number, alphabet: string = base62): string {
  let text = '';
  for (let i = 0; i < length; i++) text += alphabet[randomInt(alphabet.length)];
  return text;
}

/** An internal row id: prefix, underscore, 128 random bits in base64url. */
export function rowId(prefix: string): string {
  return `${prefix}_${randomBytes(16).toString('base64url')}`;
}

const adjectives =
  'able amber ample bold brave breezy bright brisk calm candid clear clever cosy crisp daring deft eager early fair fancy fleet fond free fresh gentle glad golden grand happy hardy honest humble jolly keen kind lively loyal lucid lucky mellow merry mild neat nimble noble patient plucky polite proud quick quiet rapid ready ruby sage silent silver smart snug solid sound spry steady sunny swift tidy topaz upbeat vivid warm wise witty zesty'.split(
    ' ',
  );
const animals =
  'albatross alpaca badger bat beaver bee bison bobcat buffalo camel caribou cheetah cicada cobra condor coyote crane cricket dolphin dormouse dove eagle egret elk ermine falcon ferret finch fox gazelle gecko gibbon goose grouse hare hawk hedgehog heron ibex ibis jackal jaguar kestrel kiwi koala lark lemur leopard linnet lizard llama lynx magpie marmot marten mole moose moth newt ocelot octopus orca oriole osprey otter owl panda parrot pelican penguin plover puffin puma quail rabbit raven robin salmon seal shrew sparrow starling stoat swan tapir tern toucan trout turtle viper vole walrus weasel whale wombat wren yak zebra'.split(
    ' ',
  );

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] as string;
}

/** A connection id a person can read aloud, such as `clever-dolphin-a9X3`. */
export function readableConnectionId(): string {
  return `${pick(adjectives)}-${pick(animals)}-${randomText(4)}`;
}

/** A namespace name such as `moth-m4k2`: lowercase, as the rule for names asks. */
export function readableNamespaceName(): string {
  return `${pick(animals)}-${randomText(4, '0123456789abcdefghijklmnopqrstuvwxyz')}`;
}
