/** Mounts the page. Reading public status starts here; contributing does not. */
import { mount } from 'svelte';
import './lib/theme.css';
import Home from './routes/home.svelte';

const target = document.getElementById('app');
if (!target) throw new Error('The page has no #app element.');
target.replaceChildren();
mount(Home, { target });
