/**
 * The grammar of the generated corpus: one tree that gives one passage, a line of one or more sentences.
 *
 * Chosen so that there is much to learn at several distances: spelling, number agreement over an intervening phrase, gender of a pronoun, lists that
 * go on by rule, sums, comparisons, copying of made-up words. Every passage ends with the only newline in it, so a text has one cut into passages.
 */
import { choice, each, type Node, type Part, ranked, sequence } from './grammar.ts';
import * as words from './words.ts';

const capital = (text: string) => text[0]?.toUpperCase() + text.slice(1);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** A phrase and whether it is plural. `build` gets the number, for what must agree. */
type Agreeing = (build: (plural: boolean) => Part) => Node;

/** "the old boat", "two old boats", "a boat", "an old boat". */
function nounPhrase(nouns: readonly words.Noun[], build: (plural: boolean) => Part, upper = false): Node {
  const put = (text: string) => (upper ? capital(text) : text);
  const pair = (word: (noun: words.Noun) => string, before: (next: string) => string) =>
    choice([
      [3, ranked(nouns, (noun) => `${before(word(noun))} ${word(noun)}`)],
      [
        2,
        ranked(words.adjectives, (adjective) =>
          sequence(`${before(adjective)} ${adjective} `, ranked(nouns, word)),
        ),
      ],
    ]);
  const [singular, plural] = [build(false), build(true)];
  return choice([
    [
      4,
      sequence(
        pair(
          (n) => n.one,
          () => put('the'),
        ),
        singular,
      ),
    ],
    [
      3,
      sequence(
        pair(
          (n) => n.one,
          (next) => put(words.article(next)),
        ),
        singular,
      ),
    ],
    [
      3,
      sequence(
        pair(
          (n) => n.many,
          () => put('the'),
        ),
        plural,
      ),
    ],
    [
      2,
      each(range(2, 9), (n) =>
        sequence(
          pair(
            (noun) => noun.many,
            () => put(words.inWords(n)),
          ),
          plural,
        ),
      ),
    ],
  ]);
}

const verb = (list: readonly string[], plural: boolean) =>
  ranked(list, (word) => (plural ? word : words.thirdPerson(word)));

const object = nounPhrase(words.things, () => '');
const where = ranked(words.places, (place) => `the ${place}`);

/** A verb phrase that agrees: with an object, or without and perhaps with a manner. */
const verbPhrases = [false, true].map((plural) =>
  choice([
    [5, sequence(' ', verb(words.transitive, plural), ' ', object)],
    [
      3,
      sequence(
        ' ',
        verb(words.intransitive, plural),
        choice([
          [1, ''],
          [2, ranked(words.adverbs, (a) => ` ${a}`)],
        ]),
      ),
    ],
  ]),
);
const verbPhrase = (plural: boolean) => verbPhrases[Number(plural)] as Node;

/** The subject may be followed by a phrase with a number of its own, which the verb must not follow. */
const between = choice([
  [5, ''],
  [2, sequence(' near ', where)],
  [2, sequence(' with ', object)],
]);

const subject: Agreeing = (build) => nounPhrase(words.beings, build, true);

/** "The sailors with an old lamp carry two boxes." */
const statement = subject((plural) => sequence(between, verbPhrase(plural), '.'));

/** "Mara opens the box. She finds seven stones near the mill." */
const story = ranked(words.names, ({ name, they }) =>
  sequence(
    name,
    verbPhrase(false),
    `. ${capital(they)} `,
    verb(words.transitive, false),
    ' ',
    object,
    choice([
      [1, ''],
      [1, sequence(' near ', where)],
    ]),
    '.',
  ),
);

/** "Count up by two from eight: eight, ten, twelve, fourteen." */
const counting = each([1, 2, 3, 5, 10], (step) =>
  each(['up', 'down'] as const, (way) =>
    each(range(4, 9), (length) => {
      const span = step * (length - 1);
      return each(range(0, 99 - span), (low) => {
        const upwards = range(0, length - 1).map((i) => words.inWords(low + i * step));
        const list = way === 'up' ? upwards : upwards.reverse();
        return `Count ${way} by ${words.inWords(step)} from ${list[0]}: ${list.join(', ')}.`;
      });
    }),
  ),
);

/** "37 + 45 = 82.", "60 - 23 = 37.", "7 * 8 = 56." */
const sums = choice([
  [4, each(range(0, 99), (a) => each(range(0, 99), (b) => `${a} + ${b} = ${a + b}.`))],
  [4, each(range(0, 99), (a) => each(range(0, a), (b) => `${a} - ${b} = ${a - b}.`))],
  [2, each(range(0, 12), (a) => each(range(0, 12), (b) => `${a} * ${b} = ${a * b}.`))],
]);

/** "Is 34 more than 43? No." */
const comparison = each(range(0, 99), (a) =>
  each(range(0, 99), (b) => `Is ${a} more than ${b}? ${a > b ? 'Yes' : 'No'}.`),
);

/** "Mara is older than Otto and Otto is older than Ruth, so Mara is older than Ruth." */
const chain = each(['older', 'taller', 'faster'], (more) =>
  each(words.names, ({ name: a }) => {
    const others = words.names.filter(({ name }) => name !== a);
    return each(others, ({ name: b }) =>
      each(
        others.filter(({ name }) => name !== b),
        ({ name: c }) =>
          `${a} is ${more} than ${b} and ${b} is ${more} than ${c}, so ${a} is ${more} than ${c}.`,
      ),
    );
  }),
);

/** "Four days after Monday comes Friday." */
const calendar = each(words.days, (day, at) =>
  each(range(1, 9), (n) => {
    const then = words.days[(at + n) % 7] as string;
    return `${capital(words.inWords(n))} ${n === 1 ? 'day' : 'days'} after ${day} comes ${then}.`;
  }),
);

/** 'Say "kaloru" three times: kaloru kaloru kaloru.' The word is new almost every time: only copying helps. */
const copying = each(words.syllables, (first) =>
  each(words.syllables, (second) =>
    each(words.syllables, (third) =>
      each([2, 3], (times) => {
        const word = first + second + third;
        return `Say "${word}" ${times === 2 ? 'twice' : 'three times'}: ${Array(times).fill(word).join(' ')}.`;
      }),
    ),
  ),
);

/** One passage and its newline. */
export const passage: Node = sequence(
  choice([
    [30, statement],
    [22, story],
    [8, counting],
    [14, sums],
    [5, comparison],
    [6, chain],
    [4, calendar],
    [6, copying],
  ]),
  '\n',
);
