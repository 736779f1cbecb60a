"use strict";

// One page for "/" and "/leaderboard"; everything it shows comes from /api/.
const onLeaderboard = location.pathname === "/leaderboard";
const status = document.getElementById("status");

function say(text, isError) {
  status.textContent = text;
  status.classList.toggle("error", Boolean(isError));
}

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.error || `${path} answered ${answer.status}`);
  }
  return answer;
}

function element(name, attributes, text) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  if (text !== undefined) made.textContent = text;
  return made;
}

async function showBoard() {
  const ranking = await (await get("/api/leaderboard")).json();
  const most = Math.max(1, ...ranking.map((entry) => Number(entry.votes)));
  document.getElementById("ranking").replaceChildren(...ranking.map((entry) => {
    const line = element("li");
    line.append(
      element("span", { className: "emoji", title: entry.shortcode }, entry.unicode),
      element("meter", { max: most, value: Number(entry.votes) }),
      element("span", { className: "votes" }, entry.votes),
    );
    return line;
  }));
}

async function vote(emoji) {
  try {
    await get(`/api/vote?choice=${encodeURIComponent(emoji.shortcode)}`);
    say(`You voted for ${emoji.unicode}. Vote again?`);
    await showBoard();
  } catch (error) {
    say(error.message, true);
  }
}

async function showChoices() {
  const every = await (await get("/api/list")).json();
  document.getElementById("vote").replaceChildren(...every.map((emoji) => {
    const button = element("button", { type: "button", title: emoji.shortcode }, emoji.unicode);
    button.setAttribute("aria-label", `vote for ${emoji.shortcode}`);
    button.addEventListener("click", () => vote(emoji));
    return button;
  }));
}

async function refresh() {
  try {
    await showBoard();
  } catch (error) {
    say(error.message, true);
  }
}

async function start() {
  if (onLeaderboard) {
    document.body.classList.add("leaderboard");
    say("Most votes first; refreshed every five seconds.");
    setInterval(refresh, 5000);
  } else {
    await showChoices().catch((error) => say(error.message, true));
  }
  await refresh();
}

start();
