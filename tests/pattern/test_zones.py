"""test_zones.py ASK_ZONE: what our zones and cron expressions answer, against the zoneinfo of Python and against a cron
that looks at every minute. ASK_ZONE is the program of ask_zone.c."""

import calendar
import functools
import random
import subprocess
import sys
import unittest
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

ASK = []
DAY = 86400
EPOCH = datetime(1970, 1, 1)
FIRST, LAST = 0, 4102444800  # 1970 to 2100

# Each for something: halves and quarters of an hour, saving time behind standard time, days skipped, rules at -1 and
# 26 o'clock, seconds, no rule at all.
ZONES = (
    "UTC Europe/Berlin Europe/London Europe/Dublin Europe/Lisbon Europe/Moscow Africa/Casablanca Africa/Cairo"
    " Africa/Monrovia America/New_York America/Sao_Paulo America/St_Johns America/Nuuk America/Havana America/Santiago"
    " America/Caracas Antarctica/Troll Asia/Kathmandu Asia/Jerusalem Asia/Gaza Asia/Tehran Asia/Pyongyang Asia/Tokyo"
    " Australia/Lord_Howe Pacific/Apia Pacific/Kwajalein Pacific/Chatham Etc/GMT+5"
).split()


def ask(questions):
    """The answers to all of them, one process for all."""
    run = subprocess.run(ASK, input="\n".join(questions) + "\n", capture_output=True, text=True, check=True)
    answers = run.stdout.split("\n")[:-1]
    assert len(answers) == len(questions), run.stdout[-500:]
    return answers


def offset_at(zone, utc):
    return round(datetime.fromtimestamp(utc, zone).utcoffset().total_seconds())


@functools.cache
def changes_of(zone, first=FIRST, last=LAST):
    """The instants from first to last at which the offset changes; none lasts less than a day."""
    changes = []
    for low in range(first, last, DAY):
        high = low + DAY
        before = offset_at(zone, low)
        if before == offset_at(zone, high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset_at(zone, middle) == before else (low, middle)
        changes.append(high)
    return changes


def instants_of(zone, local):
    """By the two answers that Python has for a local time."""
    naive = EPOCH + timedelta(seconds=local)
    guesses = {
        local - round(naive.replace(tzinfo=zone, fold=fold).utcoffset().total_seconds()) for fold in (0, 1)
    }
    return sorted(utc for utc in guesses if utc + offset_at(zone, utc) == local)


class Zones(unittest.TestCase):
    def test_offsets_and_instants(self):
        for name in ZONES:
            zone, rnd = ZoneInfo(name), random.Random(name)
            changes = changes_of(zone)
            moments = [rnd.randrange(FIRST, LAST) for _ in range(400)]
            for change in changes:
                moments += [change - 1, change, change + 1, change + rnd.randrange(-4000, 4000)]
            spans = ask([f"zone {name}"] + [f"span {moment}" for moment in moments])
            self.assertEqual(spans[0], "ok", name)
            locals_ = []
            for moment, answer in zip(moments, spans[1:]):
                start, end, offset = map(int, answer.split())
                self.assertEqual(offset, offset_at(zone, moment), (name, moment))
                self.assertTrue(start <= moment < end, (name, moment))
                inside = [change for change in changes if start < change < end]
                self.assertEqual(inside, [], (name, moment))
                locals_ += [moment + offset, moment + offset + rnd.randrange(-7200, 7200)]
            self.check_instants(name, zone, changes, locals_)

    def check_instants(self, name, zone, changes, locals_):
        answers = ask([f"zone {name}"] + [f"instants {local}" for local in locals_])
        for local, answer in zip(locals_, answers[1:]):
            count, *at = map(int, answer.split())
            wanted = instants_of(zone, local)
            if wanted:
                self.assertEqual((count, at), (len(wanted), [wanted[0], wanted[-1]]), (name, local))
                continue
            gap = [at for at in changes if at - 1 + offset_at(zone, at - 1) < local < at + offset_at(zone, at)]
            self.assertEqual((count, at), (0, gap * 2), (name, local))

    def test_every_zone_of_the_system_is_read(self):
        names = sorted(available_timezones() - {"localtime"})
        self.assertGreater(len(names), 400)
        moments = [-3 * 10**9, -(10**9), 0, 10**9, 1773532799, 2 * 10**9, 4 * 10**9, 10**10]
        questions = [question for name in names for question in [f"zone {name}"] + [f"span {at}" for at in moments]]
        answers = iter(ask(questions))
        for name in names:
            self.assertEqual(next(answers), "ok", name)
            for moment in moments:
                offset = int(next(answers).split()[2])
                self.assertEqual(offset, offset_at(ZoneInfo(name), moment), (name, moment))


# ---- a cron that looks at every minute ----

LIMITS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


class Oracle:
    """One expression, read by other means than the library's."""

    def __init__(self, text):
        fields = text.split()
        self.sets = [self.values(field, *limits) for field, limits in zip(fields, LIMITS)]
        self.sets[4] = {value % 7 for value in self.sets[4]}
        self.either = fields[2][0] != "*" and fields[4][0] != "*"
        self.real_time = "*" in (fields[0][0], fields[1][0])

    @staticmethod
    def values(field, low, high):
        found = set()
        for item in field.split(","):
            what, _, step = item.partition("/")
            start, dash, end = (str(low), "-", str(high)) if what == "*" else what.partition("-")
            found |= set(range(int(start), int(end if dash else start) + 1, int(step or 1)))
        return found

    def means_day(self, date):
        day, weekday = date.day in self.sets[2], date.isoweekday() % 7 in self.sets[4]
        return date.month in self.sets[3] and (day or weekday if self.either else day and weekday)

    def means(self, local):
        """local: minutes since 1970 as the wall shows them."""
        at = EPOCH + timedelta(minutes=local)
        return at.minute in self.sets[0] and at.hour in self.sets[1] and self.means_day(at)

    def slots(self, walls):
        """walls: (instant, minute shown) for each minute, in order. Fixed ones look at what is passed for the first
        time only, so the first wall is taken as one that has been shown."""
        latest = walls[0][1]
        for instant, shown in walls[1:]:
            if self.real_time:
                hit = self.means(shown)
            else:
                hit = any(self.means(minute) for minute in range(latest + 1, shown + 1))
                latest = max(latest, shown)
            if hit:
                yield instant * 1000


def random_field(rnd, low, high, density):
    def value():
        return rnd.randint(low, high)

    if rnd.random() < density:
        return rnd.choice(["*", "*", f"*/{rnd.randint(1, min(9, high))}"])
    items = []
    for _ in range(rnd.choice([1, 1, 1, 2, 3])):
        start = value()
        end = rnd.randint(start, high)
        items.append(rnd.choice([f"{start}", f"{start}", f"{start}-{end}", f"{start}-{end}/{rnd.randint(1, 5)}"]))
    return ",".join(items)


def random_expression(rnd, days=0.7):
    densities = [0.3, 0.4, days, days, days]
    return " ".join(random_field(rnd, *limits, density) for limits, density in zip(LIMITS, densities))


class Cron(unittest.TestCase):
    # Whole minutes only, so that a walk by minutes meets every second 0.
    WALKED = [name for name in ZONES if name != "Africa/Monrovia"]

    def walls(self, zone, start, minutes):
        return [(at, (at + offset_at(zone, at)) // 60) for at in range(start, start + minutes * 60, 60)]

    def check(self, dialogue):
        """Pairs of a question and its answer."""
        for (question, wanted), answer in zip(dialogue, ask([question for question, _ in dialogue])):
            self.assertEqual(answer, wanted, (question, dialogue[0], [q for q, _ in dialogue if q[0] == "c"]))

    def check_walk(self, name, walls, text):
        """All slots in that time, each asked for from the one before, from just before it, and from somewhere between.
        Returns how many."""
        slots = list(Oracle(text).slots(walls))[:60]
        dialogue = [(f"zone {name}", "ok"), (f"cron {text}", "ok")]
        for after, slot in zip([walls[0][0] * 1000] + slots, slots):
            for moment in (after, random.Random(slot).randrange(after, slot), slot - 1):
                dialogue.append((f"next {moment}", str(slot)))
        self.check(dialogue)
        return len(slots)

    def test_around_every_kind_of_change(self):
        expressions = slots = 0
        for name in self.WALKED:
            rnd, zone = random.Random("walk " + name), ZoneInfo(name)
            changes = changes_of(zone) or [rnd.randrange(FIRST, LAST) for _ in range(3)]
            for change in rnd.sample(changes, min(4, len(changes))):
                start = change // 60 * 60 - rnd.randrange(60, 2 * 1440) * 60
                walls = self.walls(zone, start, 4 * 1440)
                for _ in range(6):
                    slots += self.check_walk(name, walls, random_expression(rnd, 0.9))
                    expressions += 1
        self.assertGreater(expressions, 500)
        self.assertGreater(slots, 5000)

    def test_far_away(self):
        """Rare days, in UTC, where a day's first minute is the answer."""
        rnd, dialogue = random.Random("far"), [("zone UTC", "ok")]
        while len(dialogue) < 800:
            text = random_expression(rnd, 0.3)
            oracle = Oracle(text)
            dates = [(month, day) for month in oracle.sets[3] for day in oracle.sets[2]]
            if not oracle.either and not any(day <= calendar.monthrange(2000, month)[1] for month, day in dates):
                continue
            start = datetime(rnd.randint(1970, 2390), rnd.randint(1, 12), rnd.randint(1, 28), tzinfo=timezone.utc)
            day = start
            while not oracle.means_day(day):
                day += timedelta(days=1)
            slot = day.replace(hour=min(oracle.sets[1]), minute=min(oracle.sets[0]))
            dialogue.append((f"cron {text}", "ok"))
            dialogue.append((f"next {round(start.timestamp()) * 1000 - 1}", str(round(slot.timestamp()) * 1000)))
        self.check(dialogue)

    def test_29_february_on_a_sunday(self):
        """From each year of a whole cycle of the calendar: waits of 28 years, and of 40."""
        leap = [datetime(year, 2, 29, tzinfo=timezone.utc) for year in range(1972, 2500) if calendar.isleap(year)]
        sundays = [round(day.timestamp()) for day in leap if day.isoweekday() == 7]
        self.assertEqual({(b - a) // DAY // 365 for a, b in zip(sundays, sundays[1:])}, {28, 40})
        dialogue = [("zone UTC", "ok"), ("cron 0 0 29 2 */7", "ok")]
        for year in range(1971, 2400):
            start = calendar.timegm((year, 1, 1, 0, 0, 0))
            dialogue.append((f"next {start * 1000}", str(next(day for day in sundays if day > start) * 1000)))
        self.check(dialogue)


if __name__ == "__main__":
    ASK.append(sys.argv.pop(1))
    unittest.main()
