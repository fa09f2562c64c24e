/**
 * The network's weather: who is online when, how long messages take, who is cut off, and when the coordinator is down. Half of the contributors
 * vanish within minutes; half of those who leave say so.
 */
import type { Actor, Population } from './population.ts';
import type { Dice, Timeline } from './time.ts';

const minuteMs = 60_000;
/** Means of exponential waiting times. */
const mean = {
  latency: 80,
  stay: { passing: 4 * minuteMs, steady: 100 * minuteMs },
  away: { passing: 30 * minuteMs, steady: 20 * minuteMs },
  betweenPartitions: 20 * minuteMs,
  partition: 2 * minuteMs,
  betweenCrashes: 40 * minuteMs,
  down: 20_000,
};
/** Of all contributors, in one partition. */
const partitionShare = 0.1;
/** After this long without a sign of life the coordinator drops a connection. */
const silenceMs = 45_000;
const downGraceMs = 30_000;
const resendMs = 2_000;

export interface WeatherEvents {
  arrived(actor: Actor): void;
  departed(actor: Actor): void;
  /** The coordinator finds the connection dead, or was told goodbye. */
  left(actor: Actor): void;
  restarted(graceMs: number): void;
}

export class Weather {
  isDown = false;
  crashes = 0;
  online = 0;
  readonly #time: Timeline;
  readonly #dice: Dice;
  readonly #population: Population;
  readonly #events: WeatherEvents;

  constructor(time: Timeline, dice: Dice, population: Population, events: WeatherEvents) {
    this.#time = time;
    this.#dice = dice;
    this.#population = population;
    this.#events = events;
  }

  begin(): void {
    for (const actor of this.#population.actors) this.#begin(actor);
    this.#time.after(this.#dice.wait(mean.betweenPartitions), () => this.#partition());
    this.#time.after(this.#dice.wait(mean.betweenCrashes), () => this.#crash());
  }

  /** Nearly as many are there at the start as later. */
  #begin(actor: Actor): void {
    const [stay, away] = [mean.stay[kindOf(actor)], mean.away[kindOf(actor)]];
    const isThere = actor.identity.isReferee || this.#dice.chance(stay / (stay + away));
    this.#time.after(this.#dice.wait(isThere ? minuteMs : away), () => this.#arrive(actor));
  }

  #arrive(actor: Actor): void {
    actor.isOnline = true;
    this.online++;
    if (!actor.identity.isReferee) {
      this.#time.after(this.#dice.wait(mean.stay[kindOf(actor)]), () => this.#depart(actor));
    }
    this.#events.arrived(actor);
  }

  #depart(actor: Actor): void {
    actor.isOnline = false;
    this.online--;
    const life = ++actor.life;
    this.#events.departed(actor);
    const isPolite = this.#dice.chance(0.5);
    this.#time.after(isPolite ? 0 : silenceMs, () => {
      if (actor.life === life && !actor.isOnline && !this.isDown) this.#events.left(actor);
    });
    this.#time.after(this.#dice.wait(mean.away[kindOf(actor)]), () => this.#arrive(actor));
  }

  #partition(): void {
    const until = this.#time.now + this.#dice.wait(mean.partition);
    for (const actor of this.#population.actors) {
      if (!actor.isOnline || !this.#dice.chance(partitionShare)) continue;
      actor.cutUntil = until;
      this.#time.after(silenceMs, () => {
        if (actor.cutUntil > this.#time.now && !this.isDown) this.#events.left(actor);
      });
    }
    this.#time.after(this.#dice.wait(mean.betweenPartitions), () => this.#partition());
  }

  #crash(): void {
    this.isDown = true;
    this.crashes++;
    this.#time.after(this.#dice.wait(mean.down), () => {
      this.isDown = false;
      this.#events.restarted(downGraceMs);
      this.#time.after(this.#dice.wait(mean.betweenCrashes), () => this.#crash());
    });
  }

  /**
   * Delivers what the sender has ready after `readyMs`, unless it has left by then; while the way is cut or the coordinator down, it is sent again and
   * again. `lost` is told when it never arrives.
   */
  send(actor: Actor, deliver: () => void, readyMs = 0, lost?: () => void): void {
    const { life } = actor;
    this.#time.after(readyMs + this.#dice.wait(mean.latency), () => {
      if (actor.life !== life || !actor.isOnline) return lost?.();
      const wait = this.isDown ? resendMs : actor.cutUntil - this.#time.now;
      if (wait > 0) this.send(actor, deliver, wait, lost);
      else deliver();
    });
  }
}

const kindOf = (actor: Actor) => (actor.isSteady ? 'steady' : 'passing');
