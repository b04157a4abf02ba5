// The compiler leaves declarations alone that it did not make.
import { copyFileSync } from 'node:fs';

copyFileSync(new URL('src/schema.d.ts', import.meta.url), new URL('dist/schema.d.ts', import.meta.url));
