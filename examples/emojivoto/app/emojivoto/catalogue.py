"""The emoji one can vote for, and the name of the rpc that counts a vote for each."""

_NAMES = {
    "alien": "👽",
    "apple": "🍎",
    "avocado": "🥑",
    "balloon": "🎈",
    "bee": "🐝",
    "bike": "🚲",
    "books": "📚",
    "bulb": "💡",
    "cactus": "🌵",
    "cat": "🐱",
    "cherry_blossom": "🌸",
    "clap": "👏",
    "crown": "👑",
    "dancer": "💃",
    "dog": "🐶",
    "doughnut": "🍩",
    "dragon": "🐉",
    "fire": "🔥",
    "fox": "🦊",
    "ghost": "👻",
    "guitar": "🎸",
    "heart_eyes": "😍",
    "hot_pepper": "🌶️",
    "joy": "😂",
    "key": "🔑",
    "lock": "🔒",
    "mountain": "⛰️",
    "octopus": "🐙",
    "owl": "🦉",
    "palm_tree": "🌴",
    "panda": "🐼",
    "party": "🎉",
    "penguin": "🐧",
    "pizza": "🍕",
    "rainbow": "🌈",
    "relaxed": "😌",
    "robot": "🤖",
    "rocket": "🚀",
    "sailboat": "⛵",
    "snail": "🐌",
    "snowman": "⛄",
    "star": "⭐",
    "sunflower": "🌻",
    "sunglasses": "😎",
    "thumbs_up": "👍",
    "turtle": "🐢",
    "unicorn": "🦄",
    "wave": "👋",
}

# Shortcode with its colons -> the emoji itself, in the order of the page.
EMOJI = {f":{name}:": character for name, character in _NAMES.items()}

# The one the voting service can be told to fail for, see voting_svc.
DOUGHNUT = ":doughnut:"


def vote_method(shortcode: str) -> str:
    """Return the rpc that votes for a shortcode, `:heart_eyes:` -> `VoteHeartEyes`."""
    return "Vote" + "".join(word.capitalize() for word in shortcode.strip(":").split("_"))
