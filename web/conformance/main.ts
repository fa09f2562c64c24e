/** Mounts the page `/conformance`. Nothing is computed before Run. */
import { mount } from 'svelte';
import '../lib/theme.css';
import Conformance from '../routes/conformance.svelte';

const target = document.getElementById('app');
if (!target) throw new Error('The page has no #app element.');
target.replaceChildren();
mount(Conformance, { target });
