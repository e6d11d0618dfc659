// Talking with others in the same world, from browser to browser. The server only lets them find each other.

import type { Figure } from "./people";
import { positionOf, type Matrix } from "./pose";
import type { Person } from "./protocol";

interface Peer {
  connection: RTCPeerConnection;
  panner: PannerNode;
  gain: GainNode;
  element: HTMLAudioElement;
  waiting: RTCIceCandidateInit[];
}

type Signal = { description?: RTCSessionDescriptionInit; candidate?: RTCIceCandidateInit };

/** Metres at which a voice is as loud as it is; farther away it falls off with distance. */
const NEAR = 1;

export class Voice {
  on = false;
  private microphone: MediaStream | null = null;
  private context: AudioContext | null = null;
  private readonly peers = new Map<number, Peer>();

  constructor(private readonly send: (person: number, data: string) => void) {}

  /** Asks for the microphone; must be called by a person's own hand. Throws when it may not be had. */
  async start(): Promise<void> {
    if (this.on) return;
    this.microphone = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true },
    });
    this.context = new AudioContext();
    await this.context.resume();
    this.on = true;
  }

  stop(): void {
    this.on = false;
    for (const id of [...this.peers.keys()]) this.drop(id);
    for (const track of this.microphone?.getTracks() ?? []) track.stop();
    this.microphone = null;
    void this.context?.close();
    this.context = null;
  }

  /** Connects to all who talk, and lets go of who does not any more. Of two, the one with the lower number calls. */
  meet(you: number, others: readonly Person[], muted: ReadonlySet<number>): void {
    if (!this.on) return;
    const talking = new Set(others.filter(({ voice }) => voice).map(({ id }) => id));
    for (const id of [...this.peers.keys()]) if (!talking.has(id)) this.drop(id);
    for (const id of talking) {
      if (you < id && !this.peers.has(id)) void this.call(id);
      const peer = this.peers.get(id);
      if (peer) peer.gain.gain.value = muted.has(id) ? 0 : 1;
    }
  }

  /** What `person` says of the connection, as text from another browser: what makes no sense is let go. */
  async hear(person: number, data: string): Promise<void> {
    if (!this.on) return;
    try {
      const { description, candidate } = JSON.parse(data) as Signal;
      const peer = this.peers.get(person) ?? this.open(person);
      const { connection } = peer;
      if (description) {
        await connection.setRemoteDescription(description);
        for (const early of peer.waiting.splice(0)) await connection.addIceCandidate(early);
        if (description.type === "offer") {
          await connection.setLocalDescription();
          this.tell(person, { description: connection.localDescription! });
        }
      } else if (candidate) {
        if (connection.remoteDescription) await connection.addIceCandidate(candidate);
        else peer.waiting.push(candidate);
      }
    } catch {
      this.drop(person);
    }
  }

  /** Puts every voice where its person is, as heard from `ear` (camera to world). */
  place(figures: readonly Figure[], ear: Matrix): void {
    if (!this.context) return;
    const { listener } = this.context;
    const [x, y, z] = positionOf(ear);
    set(listener.positionX, x);
    set(listener.positionY, y);
    set(listener.positionZ, z);
    set(listener.forwardX, -ear[8]!);
    set(listener.forwardY, -ear[9]!);
    set(listener.forwardZ, -ear[10]!);
    set(listener.upX, ear[4]!);
    set(listener.upY, ear[5]!);
    set(listener.upZ, ear[6]!);
    for (const figure of figures) {
      const panner = this.peers.get(figure.id)?.panner;
      if (!panner) continue;
      set(panner.positionX, figure.position[0]);
      set(panner.positionY, figure.position[1]);
      set(panner.positionZ, figure.position[2]);
    }
  }

  private async call(person: number): Promise<void> {
    const { connection } = this.open(person);
    await connection.setLocalDescription();
    this.tell(person, { description: connection.localDescription! });
  }

  private open(person: number): Peer {
    const context = this.context!;
    const connection = new RTCPeerConnection({ iceServers: [] }); // nobody else is asked: one network, or none
    const panner = new PannerNode(context, { panningModel: "HRTF", distanceModel: "inverse", refDistance: NEAR });
    const gain = new GainNode(context);
    gain.connect(panner).connect(context.destination);
    const element = new Audio();
    element.muted = true; // Chromium feeds no remote track to the graph unless an element plays it too
    const peer: Peer = { connection, panner, gain, element, waiting: [] };
    this.peers.set(person, peer);
    for (const track of this.microphone!.getTracks()) connection.addTrack(track, this.microphone!);
    connection.onicecandidate = ({ candidate }) => candidate && this.tell(person, { candidate: candidate.toJSON() });
    connection.ontrack = ({ track }) => {
      const stream = new MediaStream([track]);
      element.srcObject = stream;
      void element.play().catch(() => {});
      new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(gain);
    };
    connection.onconnectionstatechange = () => connection.connectionState === "failed" && this.drop(person);
    return peer;
  }

  private drop(person: number): void {
    const peer = this.peers.get(person);
    if (!peer) return;
    this.peers.delete(person);
    peer.connection.close();
    peer.panner.disconnect();
    peer.element.srcObject = null;
  }

  private tell(person: number, signal: Signal): void {
    this.send(person, JSON.stringify(signal));
  }
}

function set(parameter: AudioParam, value: number): void {
  if (Number.isFinite(value)) parameter.value = value;
}
