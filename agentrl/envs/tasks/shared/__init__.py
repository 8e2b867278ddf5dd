"""What several task families need: disjoint splits, actions of an oracle, reading an answer, questioners of games."""
