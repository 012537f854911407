"""Next tokens: many contexts, each with a distribution over few of many tokens, at vanishing decay."""
