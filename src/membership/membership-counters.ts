/** What membership has done since the process started. */
export class MembershipCounters {
  /** Pings sent, for its own rounds, on behalf of others and out of turn. */
  probes = 0
  /** Rounds that ended with an ack. */
  probesAcked = 0
  /** Rounds that ended without one. */
  probesFailed = 0
  /** Others were asked to ping. */
  indirectProbes = 0
  /** Rounds that say nothing because this event loop stalled. */
  roundsVoided = 0
  /** Members that became suspect because of this node's own round. */
  suspicions = 0
  /** Suspects that contradicted. */
  suspicionsRefuted = 0
  /** Members given up by this node because a suspicion ran out. */
  deaths = 0
  /** Members given up that contradicted: the verdict was wrong. */
  deathsRefuted = 0
  deathsProven = 0
  /** Times this process contradicted a suspicion of itself. */
  selfRefuted = 0
  /** Refused connections to former peers, its own and those reported. */
  refusals = 0
  /** Exchanges of all that is known, begun by this node. */
  pushes = 0
  /** Processes not taken in because the table was full of others that are well. */
  membersRefused = 0
}
