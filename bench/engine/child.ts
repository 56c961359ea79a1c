/** Runs the job given as JSON and prints its result as JSON. */

import { type Job, runJob } from './jobs.ts'

const result = await runJob(JSON.parse(process.argv[2] as string) as Job)
process.stdout.write(JSON.stringify(result))
