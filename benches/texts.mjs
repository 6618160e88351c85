// What the suite `pipeline` reads, written for it. Read by Node.js and by the page.

const PARAGRAPHS = [
  `The library closes at nine, but the old reading room stays open for anyone who asks at the desk. On winter evenings a dozen people sit
under the green lamps, some with newspapers, some with maps of villages that no longer exist. The caretaker knows them all by the books
they leave on the table. He has never asked what they are looking for, and when one of them finds it he can tell, because the lamp is
switched off early and the chair is pushed in with care.`,
  `Bread dough that rests overnight in a cold kitchen needs less yeast than the recipe says. Mix flour, water and salt first, wait for half
an hour, and only then add the yeast, dissolved in a spoonful of warm milk. Fold the dough four times, turn it, cover it with a damp
cloth, and leave it until morning. It should have doubled in size and smell faintly of apples. Bake it in a heavy pot with the lid on for
thirty minutes, then without the lid until the crust is dark.`,
  `When a river is straightened, water runs through it faster and carries away the sand on which fish lay their eggs. Engineers who once
dug such canals now put the bends back, one at a time, with willow branches and boulders. After three floods the stream has usually made
its own bed, wider and slower than the one in the plans. Kingfishers return in the second summer, otters in the fifth, and the cellars of
the town downstream stay dry for the first time in living memory.`,
  `Before signing the lease, read what it says about repairs. In most contracts the owner pays for the roof, the pipes and the heating,
while the tenant pays for whatever is touched every day, such as switches, taps and locks, up to a yearly limit. Take photographs of every
room on the day the keys change hands, with the meters in view, and send them to the other side by registered mail. Many quarrels about a
deposit end as soon as a picture with a date is put on the table.`,
  `A telescope gathers light as a bucket gathers rain: the wider it is, the more falls in. Doubling the diameter of the mirror makes faint
stars four times as bright, but the air above the mountain trembles, and the picture trembles with it. Astronomers therefore bend a small
second mirror a thousand times each second, guided by a bright star or by a laser that paints a false one high in the sky. On good nights
they see from the ground almost as sharply as from orbit.`,
  `The orchestra had rehearsed the slow movement for a week, and still the horns came in too loud. At last the conductor laid down her
baton and asked them to play it once without her, listening only to the second violins. They began so softly that the first bars could not
be heard at the back of the hall. Nobody moved. When the horns entered, they did so like a thought that one has had for some time, and
from then on the piece was never played in any other way.`,
  `Our train was cancelled because of a fallen tree, and the replacement bus went by way of every village in the valley. Nobody complained.
An elderly woman shared her cherries, a student read aloud from the crossword, and the driver stopped twice so that children could look at
the flooded meadows. We reached the coast three hours late, just as the last ferry lowered its ramp. The captain had been told of us by
telephone, he said, and saw no sense in leaving with an empty deck.`,
  `To find a slow query, first measure: switch on the log of statements that take longer than a tenth of a second and wait for a day of
ordinary traffic. Sort what it holds by total time, not by the slowest case, since a quick statement that runs a million times costs more
than a slow report at night. Then ask the database for its plan. A scan of the whole table where a few rows are wanted calls for an index;
a wrong estimate calls for fresh statistics, and sometimes for a simpler question.`,
].map((paragraph) => paragraph.replaceAll('\n', ' '));

/** Texts by name: a sentence of 8 tokens, a paragraph of 100, and eight of 100 to 108 at once. */
export const TEXTS = {
  'a sentence': 'The tenor sang very quietly.',
  'a paragraph': PARAGRAPHS[0],
  '8 paragraphs': PARAGRAPHS,
};
