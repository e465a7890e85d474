"""Plays an H.264 or H.265 MP4 with GStreamer's RTSP server: gstreamer-server.py FILE h264|h265 LOSS any|udp
[USER PASSWORD]. LOSS is the share of RTP packets that get lost, 0..1; with udp, TCP is refused. Prints the port once it
listens."""
import sys
import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
gi.require_version('GstRtsp', '1.0')
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

path, codec, loss, transport, *user = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer(address='127.0.0.1', service='0')
factory = GstRtspServer.RTSPMediaFactory()
lossy = '' if loss == '0' else f' ! identity drop-probability={loss} name=pay0'
name = 'pay' if lossy else 'pay0'
factory.set_launch(f'( filesrc location={path} ! qtdemux ! {codec}parse config-interval=-1 ! rtp{codec}pay name={name}{lossy} )')
if transport == 'udp':
    factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
if user:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string('media.factory.role', 'viewer')
    auth.add_digest(user[0], user[1], token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role('viewer', 'media.factory.access', True)
    permissions.add_permission_for_role('viewer', 'media.factory.construct', True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory('/yard', factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
