// Whether somebody looks at the page, in whichever of a user's tabs.
//
// Each tab that is in sight holds a lock of the same name, all of them at once. The browser
// takes it back from a tab that is closed or crashes: nobody has to be asked, and nothing that
// is told of another tab can be out of date.

export class Sight {
  readonly #name: string;
  #letGo = () => {};

  constructor(userId: number) {
    this.#name = `imserver in sight ${userId}`;
    document.addEventListener("visibilitychange", this.#look);
    this.#look();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.#look);
    this.#letGo();
  }

  /** Whether any of them is; where tabs cannot tell each other, whether this one is. */
  async isAnywhere(): Promise<boolean> {
    if (!document.hidden) return true;
    const locks = await navigator.locks?.query();
    return locks?.held?.some(({ name }) => name === this.#name) ?? false;
  }

  readonly #look = (): void => {
    this.#letGo();
    if (document.hidden) return;
    const seen = new Promise<void>((resolve) => (this.#letGo = resolve));
    // A page that may hold none is in sight for itself alone.
    navigator.locks?.request(this.#name, { mode: "shared" }, () => seen).catch(() => {});
  };
}
