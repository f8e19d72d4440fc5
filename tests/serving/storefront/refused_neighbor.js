async () => {
  // Three events wait; the service refuses any batch that holds the item "bad".
  const { record } = await import("/static/visitor.js");
  const real = window.fetch;
  const sent = [];
  let answering = false;
  window.fetch = async (path, options) => {
    if (path !== "/v1/events") return real(path, options);
    if (!answering) throw new TypeError("the network is away");
    const items = JSON.parse(options.body).events.map((event) => event.item_id);
    sent.push(items);
    return new Response("{}", { status: items.includes("bad") ? 422 : 202 });
  };
  await record("view", "i1").catch(() => {});
  await record("view", "bad").catch(() => {});
  answering = true;
  const outcome = await record("view", "i2").then(() => "taken", (error) => error.status);
  await record("view", "i3");
  return { sent, outcome };
};
