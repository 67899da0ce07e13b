/** A tenant of a running deployment, made as operators make one: over the API. */
export interface Tenant {
  /** A new key of a user. */
  keyOf(user: string): Promise<string>;
}

export async function openTenant(
  { url, key }: { readonly url: string; readonly key: string },
  { tenant, tier }: { readonly tenant: string; readonly tier: "free" | "pro" | "enterprise" },
): Promise<Tenant> {
  const call = async (method: string, path: string, body: object): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
    return await response.json();
  };
  await call("PUT", `/v1/tenants/${tenant}`, { name: tenant, tier });
  return {
    async keyOf(user) {
      const made = await call("POST", `/v1/tenants/${tenant}/keys`, { name: user, user });
      return (made as { readonly key: string }).key;
    },
  };
}
