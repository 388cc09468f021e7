"""Has jobs come earlier, the longer they have waited: each gains priority, step by step.

    from chancy_plugins.reprioritize import Ageing, Reprioritize

    Chancy(plugins=[Reprioritize(Ageing(queue="mail", after=60, every=60, by=5, most=50))])

It does nothing for whom it is not given to. The rooms: `ageing` (the rules, as values),
`statements` (how far each is applied, and who comes next), `plugin` (what workers do of it).
"""

from chancy_plugins.reprioritize.ageing import Ageing as Ageing
from chancy_plugins.reprioritize.plugin import Reprioritize as Reprioritize
