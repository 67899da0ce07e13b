/** The port to users' provider keys: who runs or fronts an agent opens one by it, and nothing else sees any. */

export interface CredentialRequest {
  readonly tenant: string;
  readonly user: string;
  /** Such as `claude_api`. */
  readonly provider: string;
  /** What it is opened for, such as a job's id: for the record of accesses. */
  readonly purpose: string;
  /** Of the job, from who opens it again and again for one attempt: such openings are counted in the record. */
  readonly attempt?: number;
}

export interface CredentialSource {
  /**
   * The user's key in the clear: not to be logged, stored or kept longer than its use. Undefined when the user has stored
   * none. Rejects with `vault.unavailable`, `credential.unreadable` or `audit.unavailable`.
   */
  open(request: CredentialRequest): Promise<string | undefined>;
}
