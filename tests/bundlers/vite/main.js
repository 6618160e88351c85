import { pipeline } from 'sottovoce';

const embed = await pipeline('feature-extraction', '/models/all-MiniLM-L6-v2', { dtype: 'q8' });

document.querySelector('button').addEventListener('click', async () => {
  const vector = await embed('A quiet voice', { pooling: 'mean', normalize: true });
  document.querySelector('output').textContent = `${vector.dims.at(-1)} numbers`;
});
document.documentElement.dataset.state = 'ready';
