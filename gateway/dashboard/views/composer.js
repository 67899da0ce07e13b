import { h } from "../lib/dom.js";

/** What the agents that Berth brings along do; others are shown by their names. */
const PURPOSES = {
  shell: "run a script",
  echo: "print the prompt",
  claude: "Claude Code",
  codex: "OpenAI Codex",
};

const agentOption = (id) =>
  h("option", { value: id }, id in PURPOSES ? `${id}: ${PURPOSES[id]}` : id);

/** The form that submits a prompt. `submit({ agent, prompt, model?, ... })` resolves when it is accepted. */
export class Composer {
  #submit;
  #agent = h("select", { id: "agent", required: true });
  #model = h("input", {
    id: "model",
    autocomplete: "off",
    placeholder: "the agent's own",
    maxlength: 128,
  });
  #seconds = h("input", {
    id: "timeout",
    type: "number",
    min: 1,
    step: 1,
    placeholder: "the tier's",
    inputmode: "numeric",
  });
  #prompt = h("textarea", {
    id: "prompt",
    required: true,
    spellcheck: "false",
    placeholder: "echo hello from $(hostname)",
    "aria-describedby": "prompt-hint",
  });
  #error = h("p", { class: "form-error", role: "alert" });
  #send = h("button", { class: "primary", type: "submit" }, "Run");
  #where = h("span", { class: "muted small", id: "prompt-hint" });
  #allowance = h("span", { class: "muted small number", id: "allowance" });

  constructor(submit) {
    this.#submit = submit;
    this.#prompt.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    this.#form = h(
      "form",
      { class: "body stack", onsubmit: (event) => this.#sent(event) },
      h("div", {}, h("label", { for: "prompt" }, "Prompt or script"), this.#prompt),
      h(
        "div",
        { class: "fields" },
        h("div", {}, h("label", { for: "agent" }, "Agent"), this.#agent),
        h("div", {}, h("label", { for: "model" }, "Model"), this.#model),
        h("div", {}, h("label", { for: "timeout" }, "Time limit in seconds"), this.#seconds),
      ),
      this.#error,
      h(
        "div",
        { class: "actions" },
        this.#send,
        this.#where,
        h("span", { class: "spring" }),
        this.#allowance,
      ),
    );
    this.element = h("section", { class: "panel", "aria-label": "Submit a prompt" }, this.#form);
  }

  #form;

  /** What the gateway lets jobs name. */
  agents(ids) {
    const known = [...this.#agent.options].map((option) => option.value);
    this.#agent.append(...ids.filter((id) => !known.includes(id)).map(agentOption));
  }

  /** A session belongs to one agent, so the choice is fixed while one is chosen. */
  target(session) {
    this.#agent.disabled = session !== undefined;
    if (session !== undefined) {
      this.agents([session.agent]);
      this.#agent.value = session.agent;
    }
    this.#where.textContent =
      session === undefined
        ? "Starts a new session · Ctrl+Enter runs it"
        : "Goes on in the chosen session · Ctrl+Enter runs it";
  }

  allowance(limits) {
    const { hourly, concurrent } = limits;
    const most = concurrent.limit === null ? "" : ` of ${concurrent.limit}`;
    this.#allowance.textContent = `${hourly.remaining} of ${hourly.limit} jobs left this hour · ${concurrent.running}${most} running · tier ${limits.tier}`;
  }

  focus() {
    this.#prompt.focus();
  }

  async #sent(event) {
    event.preventDefault();
    const prompt = this.#prompt.value;
    if (prompt.trim() === "") return;
    this.#send.disabled = true;
    this.#error.textContent = "";
    try {
      await this.#submit({
        agent: this.#agent.value,
        prompt,
        ...(this.#model.value.trim() ? { model: this.#model.value.trim() } : {}),
        ...(this.#seconds.value ? { timeout_ms: Number(this.#seconds.value) * 1_000 } : {}),
      });
      this.#prompt.value = "";
    } catch (error) {
      this.#error.textContent = `${error.message}${error.code ? ` (${error.code})` : ""}`;
    } finally {
      this.#send.disabled = false;
      this.#prompt.focus();
    }
  }
}
