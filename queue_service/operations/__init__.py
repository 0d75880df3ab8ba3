"""Transaction scripts: load, decide by the rules, save, record the messages. Each works on a list.

Every item of a list gets its own outcome, a value or a typed error; one bad item never fails its
neighbours. A script is run by ``Database.write`` and has no effect outside its transaction.
"""
