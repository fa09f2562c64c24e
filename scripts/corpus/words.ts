/** The words of the generated corpus, the frequent ones first. Lists must not share a word where both could stand in one place. */

export interface Noun {
  one: string;
  many: string;
}

const regular = (words: string): Noun[] => words.split(' ').map((one) => ({ one, many: `${one}s` }));

/** Who acts. */
export const beings: Noun[] = [
  ...regular('sailor farmer bird teacher'),
  { one: 'child', many: 'children' },
  ...regular('doctor robot baker'),
  { one: 'woman', many: 'women' },
  ...regular('singer painter tortoise gardener'),
  { one: 'mouse', many: 'mice' },
  ...regular('king engineer neighbour'),
  { one: 'wolf', many: 'wolves' },
  ...regular('traveller otter pilot clerk'),
  { one: 'fisherman', many: 'fishermen' },
  ...regular('apprentice owl'),
];

/** What is acted upon. */
export const things: Noun[] = [
  ...regular('boat lamp apple stone'),
  { one: 'box', many: 'boxes' },
  ...regular('map garden letter window'),
  { one: 'knife', many: 'knives' },
  ...regular('bridge engine basket mirror'),
  { one: 'story', many: 'stories' },
  ...regular('kettle ladder island violin umbrella'),
  { one: 'leaf', many: 'leaves' },
  ...regular('door orange clock hammer'),
  { one: 'torch', many: 'torches' },
  ...regular('cloud needle eggcup'),
];

export const places =
  'river,mill,harbour,old town,market,north wall,forest,lighthouse,station,sea,library,hill'.split(',');

export const adjectives =
  'small,old,red,quiet,heavy,green,bright,empty,strange,blue,clever,narrow,ancient,yellow,gentle,broken,early,open,famous,icy'.split(
    ',',
  );

/** Verbs with an object, in the plural form. */
export const transitive =
  'see,carry,find,watch,mend,draw,hide,like,open,push,count,paint,follow,clean,admire,fetch,borrow,understand'.split(
    ',',
  );

/** Verbs without one. */
export const intransitive = 'sing,wait,sleep,work,laugh,rest,listen,dance,hurry,whisper,wander,argue'.split(
  ',',
);

export const adverbs =
  'slowly,every day,at night,together,in silence,again,before noon,without a word,for hours'.split(',');

export interface Name {
  name: string;
  they: 'he' | 'she';
}

const named = (they: Name['they'], names: string): Name[] => names.split(' ').map((name) => ({ name, they }));

export const names: Name[] = [
  ...named('she', 'Mara Lena Ines Ruth'),
  ...named('he', 'Otto Piet Karim Jonas'),
  ...named('she', 'Yuki Amina Clara'),
  ...named('he', 'Tomas Felix Ravi'),
];

export const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];

/** Syllables of made-up words: every word of these is cut into syllables in one way only. */
export const syllables = 'ka,lo,mi,ru,te,so,na,vi,pu,de,fa,zo'.split(',');

/** The third person singular of a verb. */
export function thirdPerson(verb: string): string {
  if (/[^aeiou]y$/.test(verb)) return `${verb.slice(0, -1)}ies`;
  return /(s|x|z|ch|sh)$/.test(verb) ? `${verb}es` : `${verb}s`;
}

/** `a` or `an` before a word. */
export function article(word: string): string {
  return /^[aeiou]/.test(word) ? 'an' : 'a';
}

const small =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  );
const tens = 'twenty thirty forty fifty sixty seventy eighty ninety'.split(' ');

/** A number below 100 in words. */
export function inWords(value: number): string {
  if (value < 20) return small[value] as string;
  const ten = tens[Math.floor(value / 10) - 2] as string;
  return value % 10 === 0 ? ten : `${ten}-${small[value % 10]}`;
}
